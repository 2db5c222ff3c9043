"""SSDLite detection."""
