// What the lanes of kernels compiled to count do (python/attnproto/measure/dynamic_counts.py).
//
// Lanes run one after the other, so each leaves a trace: the segments of code it ran and
// the addresses it used. When a threadgroup has ended, the traces of a simdgroup are run
// again in lockstep: lanes at the same segment go on together, those that are behind go
// first. That says which lanes were active together, where they parted, and which accesses
// had one address for all of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

namespace attnproto::cpu {

struct Threadgroup;

// Written into the object file; attnproto._core says where each field lies.
struct CountedSegment {
  uint32_t order;  // rises along the code; a turn of a loop ends at its highest
  uint32_t first_access, accesses;
};
struct CountedAccess {
  uint32_t device;  // counts among the unique bytes
  uint32_t store;
  uint32_t bytes;
};
struct CountedKernel {
  const char* description;  // what a segment and an access is; for dynamic_counts.py
  const CountedSegment* segments;
  const CountedAccess* accesses;
  uint32_t segment_count, access_count;
};

// Bytes that were touched, as a mask a line of 64.
class Touched {
 public:
  void add(uint64_t address, uint32_t bytes);
  void merge(const Touched& other);
  uint64_t bytes() const;

 private:
  std::unordered_map<uint64_t, uint64_t> lines_;
};

// Of one kernel, over the threadgroups that one OS thread ran.
struct Counted {
  std::vector<uint64_t> lanes;      // that ran each segment
  std::vector<uint64_t> issued;     // times a simdgroup ran it, with any of its lanes
  std::vector<uint64_t> divergent;  // of these, how often its lanes parted at its end
  std::vector<uint64_t> uniform;    // times a simdgroup made an access at one address
  uint64_t threadgroups = 0, simdgroups = 0, threads = 0;
  uint64_t threadgroup_bytes = 0;  // of the largest threadgroup
  Touched loaded, stored;

  void merge(const Counted& other);
};

class Counting {
 public:
  void segment(uint32_t thread, const CountedKernel* kernel, uint32_t number);
  void access(uint32_t thread, uint64_t address);
  // Turns the traces of a threadgroup that has run into counts.
  void finish(uint32_t threads, size_t threadgroup_bytes);
  // Forgets those of one that was abandoned.
  void discard();

  // By description, so that a kernel loaded twice is one.
  std::map<std::string, Counted> counted;

 private:
  struct Lane {
    std::vector<uint32_t> segments;
    std::vector<uint64_t> addresses;
  };
  void lockstep(const Lane* lanes, uint32_t count, Counted& counted);

  const CountedKernel* kernel_ = nullptr;
  std::vector<Lane> lanes_;
};

}  // namespace attnproto::cpu
