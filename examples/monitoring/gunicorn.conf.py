from prometheus_client import multiprocess

workers = 2


def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
