#include "readback/caption/open.h"

#include "readback/caption/chat_captioner.h"
#include "readback/caption/command_captioner.h"
#include "readback/caption/token_captioners.h"
#include "readback/checkpoint/open_backend.h"
#include "readback/models/part.h"
#include "readback/wire/hub.h"

namespace readback::caption {

std::unique_ptr<Captioner> open(const std::string& spec, const Machine& machine, const wire::WireOptions& wire,
                                const Context& context) {
  std::vector<checkpoint::Backend<Captioner>> backends;
  for (const TokenBackend& backend : token_backends()) {
    backends.push_back({backend.class_name, [&machine, &backend](const checkpoint::Repository& repository) {
                          return backend.make(
                              repository,
                              models::part_weights(repository, "", machine.device, machine.dtype).for_inference(),
                              repository.digest());
                        }});
  }
  backends.push_back({"openai:", {}, [&](const std::string& where) {
                        return std::make_unique<ChatCaptioner>(where, wire, !machine.device.is_meta());
                      }});
  backends.push_back({"command:", {}, [&](const std::string& command) {
                        return std::make_unique<CommandCaptioner>(command, wire.request_timeout);
                      }});
  return checkpoint::open_backend<Captioner>("captioner", backends, wire::pulled(spec, wire, context), machine);
}

}  // namespace readback::caption
