// The table of Stable Diffusion's schedulers. Includes and links nothing: the options name the schedulers in their
// help.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace readback::checkpoint {
class ConfigReader;
}

namespace readback::generate {

class Scheduler;

// Each reads the options that its diffusers class has; make_scheduler then checks that the rest is known.
using MakeScheduler = std::unique_ptr<Scheduler>(checkpoint::ConfigReader& config, int64_t steps);
MakeScheduler make_pndm, make_ddim, make_ddpm, make_euler, make_euler_ancestral, make_dpm_solver_multistep, make_unipc,
    make_lcm;

struct SchedulerEntry {
  const char* name;
  const char* class_name;  // diffusers'; empty for a variant of the entry above
  MakeScheduler* make;
  const char* sets;  // options that a variant sets, as JSON
};

inline constexpr SchedulerEntry kSchedulers[] = {
    {"pndm", "PNDMScheduler", make_pndm, "{}"},
    {"ddim", "DDIMScheduler", make_ddim, "{}"},
    {"euler", "EulerDiscreteScheduler", make_euler, "{}"},
    {"euler-a", "EulerAncestralDiscreteScheduler", make_euler_ancestral, "{}"},
    {"dpm++2m", "DPMSolverMultistepScheduler", make_dpm_solver_multistep, "{}"},
    {"dpm++2m-karras", "", make_dpm_solver_multistep, R"({"use_karras_sigmas": true})"},
    {"dpm++2m-sde", "", make_dpm_solver_multistep, R"({"algorithm_type": "sde-dpmsolver++"})"},
    {"dpm++2m-sde-karras", "", make_dpm_solver_multistep,
     R"({"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": true})"},
    {"unipc", "UniPCMultistepScheduler", make_unipc, "{}"},
    {"ddpm", "DDPMScheduler", make_ddpm, "{}"},
    {"lcm", "LCMScheduler", make_lcm, "{}"},
};

// "pndm, ddim, …": the names in the table's order. Names that do not fit do not compile.
struct SchedulerNames {
  char text[128] = {};
  constexpr SchedulerNames() {
    size_t length = 0;
    for (const SchedulerEntry& entry : kSchedulers) {
      for (const char* part : {length == 0 ? "" : ", ", entry.name}) {
        for (; *part != 0; ++part) text[length++] = *part;
      }
    }
    text[length] = 0;
  }
};
inline constexpr SchedulerNames kSchedulerNames;

}  // namespace readback::generate
