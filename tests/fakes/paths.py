"""Folders that tests look into."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Ground truth that lies beside the project where its developers have it.
SHARED = ROOT.parent / "shared"
