#pragma once
/* Stand-in: macOS 14 as the oldest system, the macOS 26 SDK, so metal-cpp takes its modern branch.
 */
#define TARGET_OS_MAC 1
#define TARGET_OS_OSX 1
#define TARGET_OS_IPHONE 0
#define TARGET_OS_IOS 0
#define __MAC_OS_X_VERSION_MIN_REQUIRED 140000
#define __MAC_26_0 260000
#define weak_import weak /* ELF spelling of Mach-O's weak_import attribute */
