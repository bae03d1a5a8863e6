// The double's controls for Python: a submodule of the extension built with it.
#include <nanobind/nanobind.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "double.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace metal_double {

void bind(nb::module_& m) {
  m.def("use", &use, "executor"_a.none());
  m.def("violations", &violations);
  m.def("warnings", &warnings);
  m.def("live", &live);
  m.def("reset", &reset);
  m.def("hold", &hold, "held"_a);
  m.def("in_flight", &in_flight);
  m.def("last_math", &last_math);
  m.def("encoders", &encoders);
  m.def("explained", &explained);
  nb::enum_<Samples>(m, "Samples")
      .value("GOOD", Samples::Good)
      .value("ZERO", Samples::Zero)
      .value("ERROR", Samples::Error)
      .value("UNORDERED", Samples::Unordered)
      .value("OVERLAPPING", Samples::Overlapping)
      .value("LONG", Samples::Long);
  nb::class_<Behaviour>(m, "Behaviour")
      .def_rw("macos", &Behaviour::macos)
      .def_rw("default_device", &Behaviour::default_device)
      .def_rw("listed_device", &Behaviour::listed_device)
      .def_rw("max_threads", &Behaviour::max_threads)
      .def_rw("delay_ms", &Behaviour::delay_ms)
      .def_rw("warn_on_compile", &Behaviour::warn_on_compile)
      .def_rw("compiler_crashes", &Behaviour::compiler_crashes)
      .def_rw("counters", &Behaviour::counters)
      .def_rw("samples", &Behaviour::samples)
      .def_rw("no_copy", &Behaviour::no_copy)
      .def_rw("device_lost", &Behaviour::device_lost)
      .def_rw("fail_next", &Behaviour::fail_next)
      .def_rw("apple_gpu", &Behaviour::apple_gpu)
      .def_rw("raise_next", &Behaviour::raise_next)
      .def_rw("thermal_state", &Behaviour::thermal_state)
      .def_rw("low_power_mode", &Behaviour::low_power_mode)
      .def_rw("on_battery", &Behaviour::on_battery)
      .def_rw("shader_validation", &Behaviour::shader_validation);
  m.def("behaviour", &behaviour, nb::rv_policy::reference);
}

}  // namespace metal_double
