"""Long drills on real CRMs behind a real gateway; each prints its figures and fails when one is not what it must be."""
