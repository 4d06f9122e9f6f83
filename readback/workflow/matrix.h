// Who understands whom: several captioners and several generators over one data set, each with each.
//
// A cell is an ordinary run in FOLDER/cK-gL (captioner K, generator L, both from 1). What a model makes is made once:
// captions of the originals by each captioner, which all generators draw; pictures of the data set's texts by each
// generator, which all captioners read.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/options.h"
#include "readback/base/ranks.h"
#include "readback/roundtrip/options.h"
#include "readback/roundtrip/role.h"
#include "readback/score/metric.h"
#include "readback/score/statistics/bootstrap.h"
#include "readback/score/statistics/significance.h"
#include "readback/workflow/run.h"

namespace readback::workflow {

struct MatrixOptions {
  std::vector<std::string> captioners, generators;
  roundtrip::RunOptions run;  // but for its two models

  static constexpr auto options() {
    using O = MatrixOptions;
    return std::tuple(option(&O::captioners, "captioners", "Repositories of captioners, or captioners elsewhere"),
                      option(&O::generators, "generators", "Repositories of generators, or generators elsewhere"),
                      nested(&O::run, "run"));
  }
};

// Two cells that share a model, on the samples that all cells have.
struct CellTest {
  int64_t captioner_a = 0, generator_a = 0, captioner_b = 0, generator_b = 0;  // from 0
  score::PairedTest test;  // a against b; corrected for all tests of the table
};

// How much of a round trip's distance is whose.
struct Sensitivity {
  // Shares of the sum of squares of the cells around their mean (score/statistics/two_way.h), with intervals over
  // samples.
  score::Interval captioner, generator, interaction;
  // Of all pairs of captioners and pairs of generators: how often two captioners change places from one generator to
  // the other.
  int64_t pairs = 0, reversals = 0;
};

struct MatrixTable {
  roundtrip::Direction direction = roundtrip::Direction::kI2T2I;
  roundtrip::Role role = roundtrip::Role::kDistance;
  score::MetricInfo metric;
  // [captioner][generator]. A quality is that of captions alone, or of pictures alone: it has one column, or one row.
  std::vector<std::vector<score::Interval>> cells;
  int64_t samples = 0;  // that every cell has
  std::vector<CellTest> tests;
  std::optional<Sensitivity> sensitivity;  // of distances, with at least two models on either side
};

struct Matrix {
  std::vector<std::string> captioners, generators;
  std::vector<MatrixTable> tables;
  std::vector<roundtrip::ErrorRow> failures;  // of all cells
  int64_t samples = 0;
};

std::string cell_name(int64_t captioner, int64_t generator);  // from 0: "c1-g1"

// Makes every cell, or goes on with them, writes FOLDER/matrix.json and gives the tables. On other ranks than 0 an
// empty result. Errors: as run()'s; UsageError where there are no captioners or generators, or one twice.
Matrix matrix(const MatrixOptions& options, const std::filesystem::path& folder, const Context& context = {},
              const Ranks& ranks = {}, const std::string& command = "");

// The tables alone, from cells that are there. Errors: StoreError, UsageError.
Matrix read_matrix(const std::vector<std::string>& captioners, const std::vector<std::string>& generators,
                   const std::filesystem::path& folder);

nlohmann::ordered_json to_json(const Matrix& matrix);

}  // namespace readback::workflow
