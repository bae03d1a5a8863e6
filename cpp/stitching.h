// Stitching graphs against the signatures of visible functions, which are read from the text:
// Metal leaves a mismatch undefined, and its reflection on them is newer than macOS 14.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "device.h"

namespace attnproto {

struct Signature {
  std::string result;
  std::vector<std::string> parameters;
};
// As a C++ function type, such as float(float, int).
std::string spell(const Signature& signature);

// The [[visible]] and [[stitchable]] functions of a text.
std::map<std::string, Signature> visible_signatures(const std::string& msl_text);

// Throws when a call names no visible function, looks forward, or passes a value
// of another type. Returns declarations of the stitched functions, as text.
std::string check_stitching(const std::string& msl_text,
                            const std::vector<StitchedFunction>& functions);

// The same functions written out in MSL, for devices that compose by text. Checks them first.
std::string stitched_source(const std::string& msl_text,
                            const std::vector<StitchedFunction>& functions);

}  // namespace attnproto
