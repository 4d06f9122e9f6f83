// The layouts that data sets come in, by one table.
#pragma once
#include <memory>
#include <span>
#include <string>

#include "readback/data/dataset.h"
#include "readback/data/problems.h"

namespace readback::data {

struct Look;
struct Opening;

// A layout is a file in data/layouts/ and a row of the table in data/registry.cpp.
struct Layout {
  const char* name;        // the SPEC's beginning, "coco" in "coco:…"
  const char* example;     // "coco:captions_val2017.json:val2017"
  const char* recognised;  // by what a folder or file of it is known, for people; empty: by its name alone
  bool (*recognises)(const Look& look);  // null: by its name alone
  // Reads it and tells opening.problems what it finds wrong: the same function opens and checks. What opening it as a
  // data set needs not, it looks at only when problems.checking().
  std::unique_ptr<Dataset> (*open)(const Opening& opening);
};

std::span<const Layout> layouts();

struct OpenedDataset {
  const Layout* layout = nullptr;
  std::unique_ptr<Dataset> dataset;
};
// open_dataset() with another hearer of problems. With one that does not throw, the data set may be empty.
OpenedDataset open_dataset(const std::string& spec, const DatasetOptions& options, Problems& problems,
                           const Context& context);

// Whether `spec` begins with the name of a layout and a colon, or is emoji-scenes.
bool names_layout(const std::string& spec);

}  // namespace readback::data
