import os
from gpujobs.model import *
def devices_of(reading, node, cpu_slots):
    n = cpu_slots or max(1, os.cpu_count()//2)
    return Node(node, NodeStatus.OK, "no GPU: CPU slots", tuple(Device(node, DeviceKind.CPU, i, f"CPU-{node}-{i}", "cpu") for i in range(n)))
