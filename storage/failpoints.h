// Names of the steps at which config.failpoint is asked. A non-zero answer is taken as the errno of
// that step: ENOSPC aborts and degrades, EIO is fatal (in pqb_store_step the store is dead from
// then on, as after a crash: drop it with pqb_store_crash and open again).
#pragma once

#define PQB_FAIL_BATCH_PUT       "batch.put"       // before each journal record is written
#define PQB_FAIL_BATCH_COMMIT    "batch.commit"    // instead of the commit
#define PQB_FAIL_BATCH_COMMITTED "batch.committed" // durable, nobody has been told yet

#define PQB_FAIL_CHECKPOINT_EXPIRE  "checkpoint.expire"  // instead of an expiry's commit
#define PQB_FAIL_CHECKPOINT_USERS   "checkpoint.users"   // instead of a commit of rows
#define PQB_FAIL_CHECKPOINT_WRITTEN "checkpoint.written" // after one
#define PQB_FAIL_CHECKPOINT_DROP    "checkpoint.drop"    // instead of a prefix drop's commit
#define PQB_FAIL_CHECKPOINT_DROPPED "checkpoint.dropped" // after one

#define PQB_FAIL_RECOVERY_SCAN   "recovery.scan"   // before the journal is read
#define PQB_FAIL_RECOVERY_COMMIT "recovery.commit" // instead of the commit that opens the store

#define PQB_FAIL_CLOSE_COMMIT "close.commit" // instead of the commit that marks an orderly end
