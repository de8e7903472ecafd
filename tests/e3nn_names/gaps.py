"""Where this package is not e3nn 0.6, and why. Each line is checked: it must differ, and nothing else may."""

__all__ = ["GAPS"]

GAPS: dict[str, str] = {
    "io.SphericalTensor.find_peaks": "peaks are moved to the top, to rounding; e3nn returns the nearest grid points",
}
