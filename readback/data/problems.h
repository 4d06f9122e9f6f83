// What can be wrong with a data set, and who is told.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "readback/base/error.h"
#include "readback/base/options.h"

namespace readback::data {

// docs/DATA.md says which of them each layout may have.
enum class Damage {
  kMissingPicture,
  kUnreadablePicture,
  kPictureWithoutCaption,
  kCaptionWithoutPicture,
  kDoubledId,
  kIdsOfTwoTypes,
  kEmptyCaption,
  kEncoding,
  kCutFile,
  kWrongStructure,
  kWrongColumns,
  kPathLeavesFolder,
  kTooLarge,
};
constexpr std::array<const char*, 13> names_of(Damage) {
  return {"missing-picture", "unreadable-picture", "picture-without-caption", "caption-without-picture",
          "doubled-id",      "ids-of-two-types",   "empty-caption",           "encoding",
          "cut-file",        "wrong-structure",    "wrong-columns",           "path-leaves-folder",
          "too-large"};
}

// Every reader of a layout tells one of these what it finds; `message` begins with the place.
class Problems {
 public:
  virtual ~Problems() = default;
  // The data set cannot be used with it. When a data set is opened, this throws a DataError; when it is checked, the
  // reader goes on without the record.
  virtual void error(Damage kind, const std::string& message) = 0;
  // The data set can be used, but something of its files is left out or looks wrong.
  virtual void remark(Damage kind, const std::string& message) = 0;
  // Whether all there is to find is wanted, also what opening need not know.
  virtual bool checking() const { return false; }
};

// For opening.
class ThrownProblems : public Problems {
 public:
  void error(Damage, const std::string& message) override { throw DataError(message); }
  void remark(Damage, const std::string&) override {}
};

// For what was read, and told, once already.
class KnownProblems : public Problems {
 public:
  void error(Damage, const std::string&) override {}
  void remark(Damage, const std::string&) override {}
};

}  // namespace readback::data
