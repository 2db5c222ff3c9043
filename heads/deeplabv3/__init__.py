"""Mobile DeepLabv3 segmentation."""
