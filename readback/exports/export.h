// What a run made, in the layouts of other programs.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <tuple>

#include "readback/base/context.h"
#include "readback/base/options.h"
#include "readback/roundtrip/choices.h"
#include "readback/roundtrip/store.h"

namespace readback::exports {

struct ExportOptions {
  roundtrip::ChoiceOptions choice;
  std::string question = "Describe the picture.";

  static constexpr auto options() {
    using O = ExportOptions;
    return std::tuple(nested(&O::choice, "choice"),
                      option(&O::question, "question", "What the user asks in preferences of captions"));
  }
};

struct Material;

// A layout is a row of the table in export.cpp.
struct Format {
  const char* name;  // "side-files"
  const char* help;
  // What it holds needs a choice: samples that have none are left out. Of the others every candidate is written.
  bool chosen;
  // Nothing where it holds both directions.
  std::optional<roundtrip::Direction> only;
  // File in the run folder that is written where no other is named; empty: it is a folder, which must be named.
  const char* file;
  // Writes it and gives the number of records.
  int64_t (*write)(const Material& material, const std::filesystem::path& path);
};
std::span<const Format> formats();
const Format& find_format(const std::string& name);  // Errors: UsageError that lists the names

struct Exported {
  std::filesystem::path path;
  int64_t records = 0;
  std::string choices;  // Choices::summary(), of a format that chooses
  int64_t alike = 0;    // of preferences: samples left out since no candidate differs from the chosen one
};

// Writes `format` to `path`, or where that is empty into the run's folder. A file is replaced as a whole; a folder must
// not be there yet, or be empty, and appears when all of it is written. What candidates are chosen by, where
// options.choice.by is empty, is roundtrip::default_distance().
// Errors: UsageError (a direction that the run or the format lacks, no path for a folder, a metric that was not
// measured), StoreError, DataError (a picture of the run that is damaged), Interrupted.
Exported export_run(const roundtrip::Store& store, roundtrip::Direction direction, const Format& format,
                    const ExportOptions& options, const std::filesystem::path& path, const Context& context = {});

}  // namespace readback::exports
