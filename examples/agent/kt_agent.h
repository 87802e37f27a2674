/* kt_agent.h: what the command loop knows of its model. */
#ifndef KT_AGENT_H
#define KT_AGENT_H

#include "kt/model.h"

/* Of a build whose device trains with others, from its manifest. */
#ifndef AGENT_SUMS_BYTES
#define AGENT_SUMS_AT 0
#define AGENT_SUMS_BYTES 0
#endif

typedef struct {
    const kt_model_interface *interface;
    void *storage; /* of the model's struct */
    size_t bytes;  /* of the storage */
} kt_agent_model;

extern const kt_agent_model kt_agent;

#endif
