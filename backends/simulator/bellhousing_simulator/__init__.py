"""A simulated engine: a Markov model with exact known probabilities, settable latency and faults."""

from bellhousing_simulator.backend import IsolatedSimulatorBackend, SimulatorBackend
from bellhousing_simulator.chain import Chain
from bellhousing_simulator.options import Fault, FaultKind, SimulatorOptions

__all__ = ["Chain", "Fault", "FaultKind", "IsolatedSimulatorBackend", "SimulatorBackend", "SimulatorOptions"]
