// Which lanes meet at barriers and collectives, and what the barriers order.
#include "validation.h"

namespace attnproto::cpu {
namespace {

constexpr uint32_t kMemDevice = 1, kMemThreadgroup = 2;  // metal::mem_flags

}  // namespace

void Validation::arrive(Fiber& lane, uint32_t flags, const Site& site) {
  Lane& state = lanes_[lane.public_state.index];
  state.at = &site;
  state.flags = flags;
}

void Validation::about_to_multiply(Fiber& lane, const Site& site) {
  lanes_[lane.public_state.index].matrix = &site;
}

uint32_t Validation::lanes_of(uint32_t simdgroup) const {
  const uint32_t (&size)[3] = group_->shared.threads;
  uint32_t left = size[0] * size[1] * size[2] - simdgroup * kLanes;
  return left >= kLanes ? ~0u : (1u << left) - 1;
}

bool Validation::meet(Simdgroup& simdgroup, uint32_t active, bool shuffle, bool matrix) {
  if (!settle()) return false;
  uint32_t number = uint32_t(&simdgroup - group_->simdgroups);
  Lane* lanes = &lanes_[number * kLanes];
  const uint32_t first = uint32_t(__builtin_ctz(active)), all = lanes_of(number);
  auto missing = [&](uint32_t absent) {
    uint32_t lane = absent ? uint32_t(__builtin_ctz(absent)) : kLanes - 1;
    const Fiber& fiber = simdgroup.fibers[lane];
    if (!(all >> lane & 1)) return Party{"does not exist", 0, "", {}, number * kLanes + lane};
    if (!(simdgroup.alive >> lane & 1)) return party(fiber, nullptr, "has returned");
    return party(fiber, lanes[lane].at, "is elsewhere");
  };
  if (matrix) {
    if (active != ~0u)
      find("divergent-collective", {party(simdgroup.fibers[first], lanes[first].matrix,
                                          "needs all 32 lanes for the matrix operation of"),
                                    missing(~active)});
    return !finding_;
  }
  const Site* at = lanes[first].at;
  if (at && (at->kind & kSimdgroupBarrier)) {
    if (active != all)
      find("divergent-barrier",
           {party(simdgroup.fibers[first], at, "waits in"), missing(all & ~active)});
    uint32_t flags = ~0u;
    for (uint32_t rest = active; rest; rest &= rest - 1) flags &= lanes[__builtin_ctz(rest)].flags;
    clock_++;
    if (flags & kMemDevice) since_simdgroup_[number][kDevice] = clock_;
    if (flags & kMemThreadgroup) since_simdgroup_[number][kThreadgroup] = clock_;
  }
  for (uint32_t rest = shuffle ? active : 0; rest; rest &= rest - 1) {
    uint32_t lane = uint32_t(__builtin_ctz(rest)), source = simdgroup.source[lane] % kLanes;
    if (active >> source & 1) continue;
    find("divergent-collective", {party(simdgroup.fibers[lane], lanes[lane].at,
                                        "takes the value of a lane that takes no part in"),
                                  missing(1u << source)});
    break;
  }
  for (uint32_t rest = active; rest; rest &= rest - 1) lanes[__builtin_ctz(rest)].at = nullptr;
  return !finding_;
}

bool Validation::open_barrier() {
  if (!settle()) return false;
  const Fiber* first = nullptr;
  uint32_t flags = ~0u;
  for (uint32_t i = 0; i < group_->simdgroup_count; i++) {
    Simdgroup& simdgroup = group_->simdgroups[i];
    for (uint32_t rest = simdgroup.alive; rest; rest &= rest - 1) {
      uint32_t lane = uint32_t(__builtin_ctz(rest));
      const Fiber& fiber = simdgroup.fibers[lane];
      Lane& state = lanes_[fiber.public_state.index];
      if (!first) first = &fiber;
      if (simdgroup.place[lane] != first->simdgroup->place[first->public_state.lane]) {
        find("divergent-barrier", {party(*first, lanes_[first->public_state.index].at, "waits in"),
                                   party(fiber, state.at, "waits in")});
        return false;
      }
      flags &= state.flags;
    }
  }
  if (!first) return true;
  for (uint32_t i = 0; i < group_->simdgroup_count; i++) {
    Simdgroup& simdgroup = group_->simdgroups[i];
    uint32_t ended = lanes_of(i) & ~simdgroup.alive;
    if (!ended) continue;
    find("divergent-barrier",
         {party(*first, lanes_[first->public_state.index].at, "waits in"),
          party(simdgroup.fibers[__builtin_ctz(ended)], nullptr, "has returned")});
    return false;
  }
  clock_++;
  if (flags & kMemDevice) since_group_[kDevice] = clock_;
  if (flags & kMemThreadgroup) since_group_[kThreadgroup] = clock_;
  return true;
}

}  // namespace attnproto::cpu
