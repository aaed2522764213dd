# SPDX-License-Identifier: MIT
"""Measuring nibble and others, keeping the figures, drawing and tabulating them."""
