"""What segmentation heads share."""
