// Archives of compiled pipelines as python/attnproto/archive.py writes them, read by anyone.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "device.h"

namespace attnproto {

struct ArchivedPipeline {
  std::string function;
  std::string text;       // first 16 hexadecimal digits of the text's SHA-256
  std::string linked;     // names, separated by commas
  std::string privately;  // names, separated by commas
  std::vector<std::pair<std::string, std::string>> constants;  // true, false or a number
  std::string code;  // for libattnproto (cpu/exported.h, cuda/exported.h); may be empty
};

struct ArchiveFile {
  std::map<std::string, std::string> device;  // kind, processor, os, compiler
  std::vector<ArchivedPipeline> pipelines;
  std::string payload;  // the device's own file
};

// Reads all of it; throws KernelCompileError where a byte is not as written.
ArchiveFile read_archive(const std::string& path);

// Throws KernelCompileError unless the archive is for this device, processor and system.
void check_archive(const ArchiveFile& archive, const std::string& path, Device& device);

// The pipeline of a function with these constants; an empty `text` matches every text.
// Throws KernelCompileError where there is none, or more than one.
const ArchivedPipeline& find_pipeline(const ArchiveFile& archive, const std::string& text,
                                      const std::string& function,
                                      const std::vector<Constant>& constants);

// A file with a name that no other had, for what is opened by name; gone with this object. None
// where there is nothing to write.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content);
  TemporaryFile(TemporaryFile&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  ~TemporaryFile();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace attnproto
