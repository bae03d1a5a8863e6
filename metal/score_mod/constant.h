// Way 3 of ways.h: which modification, fixed when the pipeline is made.
#pragma once
#include <metal_stdlib>
using namespace metal;

constant uint score_choice [[function_constant(20)]];
