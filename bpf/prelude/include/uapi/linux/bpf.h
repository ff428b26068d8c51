/* SPDX-License-Identifier: GPL-2.0-only */
/* bcc carries the kernel's bpf.h inside itself. The guards of any other copy differ, and then
 * everything is defined twice. */
