// Carries out a plan with any captioner and any generator, and measures what came out.
#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "readback/base/context.h"
#include "readback/roundtrip/plan.h"
#include "readback/roundtrip/store.h"
#include "readback/score/metric.h"

namespace readback::roundtrip {

struct Summary {
  int64_t units = 0;              // (sample, direction, candidate)
  int64_t done_before = 0;        // complete when this start began
  int64_t failed_samples = 0;     // with at least one error
  int64_t truncated_prompts = 0;  // texts that did not fit the generator's text encoder
  int64_t flagged_images = 0;     // blanked by the safety checker
  double seconds = 0;
};

// Makes every candidate that the store lacks; what failed in an earlier start is tried again. A sample that fails is
// recorded and the run goes on.
// Errors: DataError when more than max_errors samples failed, Interrupted, StoreError, UsageError, CheckpointError.
Summary execute(const Plan& plan, const data::Dataset& dataset, caption::Captioner& captioner,
                generate::Generator& generator, Store& store, const Context& context);

// Every metric on every complete candidate that has no score yet, and on random pairs (the floor). What is compared:
//   images      candidate's image against the original
//   texts       I2T2I: candidate's text against each reference, averaged; T2I2T: against the text it began with
//   references  I2T2I: candidate's text against all references; T2I2T: against the text it began with
//   truths      candidate's text or image against the scene
//   image text  I2T2I: the original with the candidate's text; T2I2T: the candidate's image with the text it began with
//   image text references  I2T2I: the original with the candidate's text and all references; T2I2T: not defined
void measure(Store& store, std::span<const std::unique_ptr<score::Metric>> metrics, const Context& context);

}  // namespace readback::roundtrip
