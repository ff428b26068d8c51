/* SPDX-License-Identifier: GPL-2.0-only */
/* Left empty: bcc includes it, threadtrace needs nothing from it. */
