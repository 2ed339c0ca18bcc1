"""The miniature data set: drawn images with exact boxes and queries."""
