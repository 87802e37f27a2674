/* model.c: the model that the agent drives, chosen by the macros of README.md. Apart from agent.c, so that no name of a
 * model's header can meet one of the agent's. */
#include "kt_agent.h"

#include AGENT_MODEL_HEADER

static union {
    AGENT_MODEL model;
    uint64_t alignment;
} storage;

const kt_agent_model kt_agent = {&AGENT_INTERFACE, &storage, sizeof storage};
