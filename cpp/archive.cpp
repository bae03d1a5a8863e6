#include "archive.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include "error.h"
#include "sha256.h"

namespace attnproto {
namespace {

const std::string kMagic = "attnproto archive 2\n";
const char* kCure = "; build it again (archive.load_or_build does)";

[[noreturn]] void refuse(const std::string& found) {
  throw Error(ErrorKind::KernelCompileError, "[archive.load] found " + found + kCure);
}

[[noreturn]] void refuse_damaged(const std::string& path) {
  refuse(path + " damaged, truncated or no archive, needs every byte as written");
}

// Fields parted by tabs, empty ones too; none of an empty line.
std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> fields;
  if (line.empty()) return fields;
  std::istringstream stream(line + "\t");
  for (std::string field; std::getline(stream, field, '\t');) fields.push_back(field);
  return fields;
}

// The next `bytes` of what is left.
std::string take(const std::string& from, size_t& at, const std::string& bytes,
                 const std::string& path) {
  const size_t count = std::strtoull(bytes.c_str(), nullptr, 10);
  if (count > from.size() - at) refuse_damaged(path);
  at += count;
  return from.substr(at - count, count);
}

Number number(const std::string& text) {
  if (text == "true" || text == "false") return text == "true";
  if (text.find_first_not_of("-0123456789") != std::string::npos)
    return std::strtod(text.c_str(), nullptr);
  if (text[0] == '-') return int64_t(std::strtoll(text.c_str(), nullptr, 10));
  return uint64_t(std::strtoull(text.c_str(), nullptr, 10));
}

// Of a vector the elements, which the file parts by commas.
std::vector<Number> numbers(const std::string& text) {
  std::istringstream stream(text);
  std::vector<Number> elements;
  for (std::string element; std::getline(stream, element, ',');)
    elements.push_back(number(element));
  return elements;
}

std::vector<Number> numbers(const Constant& constant) {
  if (auto* number = std::get_if<Number>(&constant.value)) return {*number};
  return std::get<std::vector<Number>>(constant.value);
}

bool equal(const Number& one, const Number& other) {
  return std::visit(
      [](auto a, auto b) -> bool {
        if constexpr (std::is_same_v<decltype(a), double> || std::is_same_v<decltype(b), double>) {
          // A float constant holds what is left of a double.
          const float x = float(a), y = float(b);
          return x == y || (std::isnan(x) && std::isnan(y));
        } else {
          return (a < 0) == (b < 0) && uint64_t(a) == uint64_t(b);
        }
      },
      one, other);
}

bool agrees(const ArchivedPipeline& pipeline, const std::vector<Constant>& constants) {
  if (pipeline.constants.size() != constants.size()) return false;
  for (const Constant& given : constants) {
    const auto* name = std::get_if<std::string>(&given.key);
    const std::vector<Number> wanted = numbers(given);
    bool found = false;
    for (const auto& [stored, value] : pipeline.constants) {
      if (found || !name || stored != *name) continue;
      const std::vector<Number> held = numbers(value);
      found = std::equal(held.begin(), held.end(), wanted.begin(), wanted.end(), equal);
    }
    if (!found) return false;
  }
  return true;
}

}  // namespace

ArchiveFile read_archive(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) refuse("no archive at " + path + " (" + std::strerror(errno) + "), needs one");
  const std::string data{std::istreambuf_iterator<char>(file), {}};
  const size_t digest_end = kMagic.size() + 64;
  if (data.size() <= digest_end || data.compare(0, kMagic.size(), kMagic) != 0 ||
      data[digest_end] != '\n' ||
      sha256(std::string_view(data).substr(digest_end + 1)) != data.substr(kMagic.size(), 64))
    refuse_damaged(path);

  ArchiveFile archive;
  std::string payload_bytes;
  std::vector<std::string> code_bytes;
  size_t at = digest_end + 1;
  while (true) {
    const size_t end = data.find('\n', at);
    if (end == std::string::npos) refuse_damaged(path);
    const std::vector<std::string> fields = split(data.substr(at, end - at));
    at = end + 1;
    if (fields.empty()) break;
    if (fields[0] == "payload" && fields.size() == 2) {
      payload_bytes = fields[1];
    } else if (fields[0] == "pipeline" && fields.size() >= 6) {
      ArchivedPipeline pipeline{fields[1], fields[2], fields[4], fields[5], {}, ""};
      for (size_t i = 6; i < fields.size(); i++) {
        const size_t equals = fields[i].find('=');
        if (equals == std::string::npos) refuse_damaged(path);
        pipeline.constants.emplace_back(fields[i].substr(0, equals), fields[i].substr(equals + 1));
      }
      archive.pipelines.push_back(pipeline);
      code_bytes.push_back(fields[3]);
    } else if (fields.size() == 2) {
      archive.device[fields[0]] = fields[1];
    } else {
      refuse_damaged(path);
    }
  }
  archive.payload = take(data, at, payload_bytes, path);
  for (size_t i = 0; i < code_bytes.size(); i++)
    archive.pipelines[i].code = take(data, at, code_bytes[i], path);
  return archive;
}

void check_archive(const ArchiveFile& archive, const std::string& path, Device& device) {
  const DeviceInfo& info = device.info();
  const std::pair<const char*, const std::string&> here[] = {
      {"kind", info.kind}, {"processor", info.processor}, {"os", info.os}};
  for (const auto& [name, needed] : here) {
    const auto found = archive.device.find(name);
    const std::string built_for = found == archive.device.end() ? "" : found->second;
    if (built_for != needed)
      refuse(path + " built for " + name + " '" + built_for + "', needs '" + needed + "'");
  }
}

const ArchivedPipeline& find_pipeline(const ArchiveFile& archive, const std::string& text,
                                      const std::string& function,
                                      const std::vector<Constant>& constants) {
  const ArchivedPipeline* chosen = nullptr;
  for (const ArchivedPipeline& pipeline : archive.pipelines) {
    if (pipeline.function != function || !agrees(pipeline, constants)) continue;
    if (!text.empty() && pipeline.text != sha256(text).substr(0, 16)) continue;
    if (chosen)
      refuse("two pipelines of " + function + " with these constants, needs one: pass its text");
    chosen = &pipeline;
  }
  if (!chosen)
    refuse("no " + function + " with these constants and this text in the archive, needs it there");
  return *chosen;
}

TemporaryFile::TemporaryFile(const std::string& content) {
  if (content.empty()) return;
  const char* chosen = std::getenv("TMPDIR");
  path_ = std::string(chosen && *chosen ? chosen : "/tmp") + "/attnproto-XXXXXX";
  const int file = mkstemp(path_.data());
  const bool written =
      file >= 0 && write(file, content.data(), content.size()) == ssize_t(content.size());
  if (file >= 0) close(file);
  if (!written)
    throw Error(ErrorKind::KernelCompileError, "[archive.load] found " + path_ +
                                                   " not writable, needs a folder for temporary "
                                                   "files; set TMPDIR to one");
}

TemporaryFile::~TemporaryFile() {
  if (!path_.empty()) unlink(path_.c_str());
}

}  // namespace attnproto
