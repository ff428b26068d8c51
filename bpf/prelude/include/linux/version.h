/* SPDX-License-Identifier: GPL-2.0-only */
/* Kernels from 5.0 on do not look at a program's version any more. */
#define LINUX_VERSION_CODE 0
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
