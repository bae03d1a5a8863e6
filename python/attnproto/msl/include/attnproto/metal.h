// What #include <metal_stdlib> means to the compiler.
#include "types.h"
#include "math.h"
#include "simd.h"
#include "simdgroup_matrix.h"
#include "builtins.h"
#include "functions.h"
#include "entry.h"
