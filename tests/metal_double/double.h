// A software double of the Objective-C runtime and of Metal: the Metal device
// runs against it natively, its kernels run on another device of the contract,
// and whatever Metal or Apple's ownership rules forbid is reported by name.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "device.h"

namespace metal_double {

// What counters resolve to; the bad ones were seen on real machines.
enum class Samples { Good, Zero, Error, Unordered, Overlapping, Long };

// How the pretended machine behaves; the defaults are an M4 on a recent macOS.
struct Behaviour {
  int macos = 26;              // selectors newer than this do not exist
  bool default_device = true;  // MTLCreateSystemDefaultDevice finds one
  bool listed_device = true;   // MTLCopyAllDevices lists one
  uint32_t max_threads = 1024;
  int delay_ms = 0;  // between commit and execution
  bool warn_on_compile = false;
  int compiler_crashes = 0;    // how many of the next compilations lose the compiler
  bool counters = true;        // stage-boundary sampling exists
  bool counter_memory = true;  // a sample buffer can be made
  Samples samples = Samples::Good;
  bool no_copy = true;       // memory of the caller can be mapped
  int fail_next = 0;         // error code of the next command buffer
  bool device_lost = false;  // set by fault 11, after which every command buffer has it
  bool shader_validation = false;
  bool apple_gpu = true;    // false: a GPU of an Intel Mac
  bool raise_next = false;  // the next library or command buffer is an exception instead
  int thermal_state = 0;    // 0 nominal to 3 critical
  bool low_power_mode = false;
  bool on_battery = false;
  int in_flight_wait_ms = 300;  // how long a blocked commandBuffer() waits before it is reported
};

Behaviour& behaviour();
// The device that runs the kernels.
void use(std::shared_ptr<attnproto::Device> executor);
std::shared_ptr<attnproto::Device> executor();

// While held, committed commands do not start; how many are committed and not completed.
void hold(bool held);
int in_flight();
// Encoders made, and command buffers that were told to know the encoder at fault, since reset.
int encoders();
int explained();
// The math that the last library was compiled with: mode, then functions.
std::string last_math();

std::vector<std::string> violations();  // rules broken
std::vector<std::string> warnings();    // legal and suspicious
std::vector<std::string> live();        // objects alive once the queues are idle
// Forgets reports and returns to the default behaviour.
void reset();

}  // namespace metal_double
