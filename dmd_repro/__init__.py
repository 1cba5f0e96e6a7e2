"""dmd: reproduce and audit the tables of DMD (Li, Wang, Cui, CVPR 2023) on CMU-MOSI and CMU-MOSEI."""

__version__ = "0.1.0"
