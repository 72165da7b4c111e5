"""The sealed part of the trail: Parquet segments, their manifests, where they are kept, and for how long."""
