"""The gRPC services: from messages to core and back, nothing else."""

from bellhousing.services.admin import AdminService
from bellhousing.services.discovery import DiscoveryService
from bellhousing.services.inference import InferenceService

__all__ = ["AdminService", "DiscoveryService", "InferenceService"]
