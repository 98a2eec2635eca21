"""Says what a scrape would: how many requests the workers have counted together."""

from prometheus_client import CollectorRegistry, multiprocess

registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
total = registry.get_sample_value("app_requests_total")
print("total", int(total or 0))
