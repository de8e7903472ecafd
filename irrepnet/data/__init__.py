"""Structures from files to graphs: readers with declared units and keys, validation, neighbour lists, statistics."""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__,
    {
        "Frame": "frame",
        "Graph": "graph",
        "Keys": "units",
        "SYMBOLS": "elements",
        "Units": "units",
        "atomic_number": "elements",
        "average_num_neighbors": "statistics",
        "build_graph": "neighborhood",
        "duplicated_frames": "validation",
        "fit_species_shifts": "statistics",
        "force_rms": "statistics",
        "neighbor_list": "neighborhood",
        "radial_distribution": "rdf",
        "read_frames": "formats",
        "select_groups": "split",
        "split_by_group": "split",
        "validate_frames": "validation",
    },
)
