"""Class `broker`: what stands between those who ask and those who answer."""
