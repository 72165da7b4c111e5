"""Evidence about what stands around the gateway: probes that only look."""
