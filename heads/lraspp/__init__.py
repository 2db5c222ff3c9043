"""Lite R-ASPP segmentation."""
