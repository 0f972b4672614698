"""The kernel's tests on other kernels, in virtual machines: `python -m tests.vm --help`.

What the machine at hand cannot show: other kernels, other layouts of cgroups, another architecture. A machine is
made of a Debian kernel and a Debian userland in an initramfs, and needs no disk, no network and no privileges.
Without hardware virtualization it is emulated, at about a twentieth of the speed.
"""
