"""Ops: tensors and tables in, tensors out. The seam behind which plain PyTorch and compiled kernels change places."""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__,
    {
        "Block": "blocks",
        "Coupling": "product_plan",
        "EdgeOrder": "edge_order",
        "ProductPath": "product_plan",
        "ProductPlan": "product_plan",
        "as_edge_order": "edge_order",
        "convolve": "convolution",
        "edge_order": "edge_order",
        "library_status": "_backend",
        "SplinePlaces": "radial_table",
        "radial_table": "radial_table",
        "scatter_sum": "scatter",
        "spherical_harmonics": "spherical_harmonics",
        "spline_matrix": "radial_table",
        "spline_places": "radial_table",
        "tensor_product": "tensor_product",
    },
)
