// metal-cpp's device observer needs these symbols to link; the Metal device uses no blocks.
#include "runtime.h"

extern "C" {
void* _NSConcreteStackBlock[32];
void* _NSConcreteGlobalBlock[32];
void _Block_object_assign(void*, const void*, int) {
  metal_double::violation("a block was copied: the double runs none");
}
void _Block_object_dispose(const void*, int) {
  metal_double::violation("a block was disposed: the double runs none");
}
}
