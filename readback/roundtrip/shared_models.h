// A captioner and a generator in each rank, used from rank 0 as if there were one of each.
#pragma once
#include <memory>

#include "readback/base/ranks.h"
#include "readback/caption/captioner.h"
#include "readback/generate/generator.h"

namespace readback::roundtrip {

// On rank 0, while the others serve_models(): splits what it is asked for evenly over all ranks, in order. An error of
// another rank is thrown here as what it was, Interrupted too. Events of other ranks are not heard.
class SharedModels {
 public:
  SharedModels(const Ranks& ranks, caption::Captioner& captioner, generate::Generator& generator);
  ~SharedModels();  // lets the others go
  SharedModels(const SharedModels&) = delete;
  caption::Captioner& captioner() { return *captioner_; }
  generate::Generator& generator() { return *generator_; }

 private:
  Ranks ranks_;
  std::unique_ptr<caption::Captioner> captioner_;
  std::unique_ptr<generate::Generator> generator_;
};

// On the other ranks: computes what rank 0 asks for until it needs no more. Errors: RankError.
void serve_models(const Ranks& ranks, caption::Captioner& captioner, generate::Generator& generator,
                  const Context& context = {});

}  // namespace readback::roundtrip
