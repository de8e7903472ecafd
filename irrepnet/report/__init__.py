"""Pictures and one self-contained page of a trained model: what a physicist would ask to see first."""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__,
    {
        "CheckRow": "data",
        "Dynamics": "data",
        "Parity": "data",
        "RadialDistribution": "data",
        "ReportData": "data",
        "overview_figure": "figures",
        "render_report": "html",
        "write_report": "html",
    },
)
