-- Times for people and tools beside the log times that the stages compare, and of every column what
-- it is. A view that is made anew loses its comments: say them again.

ALTER TABLE spans
    ADD COLUMN IF NOT EXISTS logged_at DateTime64(3, 'UTC')
        ALIAS fromUnixTimestamp64Milli(log_time, 'UTC');

ALTER TABLE repeated_batches
    ADD COLUMN IF NOT EXISTS logged_at DateTime64(3, 'UTC')
        ALIAS fromUnixTimestamp64Milli(log_time, 'UTC');

ALTER TABLE episodes
    ADD COLUMN IF NOT EXISTS first_at DateTime64(3, 'UTC')
        ALIAS fromUnixTimestamp64Milli(log_first, 'UTC'),
    ADD COLUMN IF NOT EXISTS last_at DateTime64(3, 'UTC')
        ALIAS fromUnixTimestamp64Milli(log_last, 'UTC');

ALTER TABLE groups
    ADD COLUMN IF NOT EXISTS first_at DateTime64(3, 'UTC')
        ALIAS fromUnixTimestamp64Milli(log_first, 'UTC'),
    ADD COLUMN IF NOT EXISTS last_at DateTime64(3, 'UTC')
        ALIAS fromUnixTimestamp64Milli(log_last, 'UTC');

ALTER TABLE replays
    ADD COLUMN IF NOT EXISTS first_at DateTime64(3, 'UTC')
        ALIAS fromUnixTimestamp64Milli(log_first, 'UTC'),
    ADD COLUMN IF NOT EXISTS last_at DateTime64(3, 'UTC')
        ALIAS fromUnixTimestamp64Milli(log_last, 'UTC');

ALTER TABLE outcomes
    ADD COLUMN IF NOT EXISTS logged_at DateTime64(3, 'UTC')
        ALIAS fromUnixTimestamp64Milli(log_time, 'UTC');

ALTER TABLE policies
    ADD COLUMN IF NOT EXISTS logged_at DateTime64(3, 'UTC')
        ALIAS fromUnixTimestamp64Milli(log_time, 'UTC');

ALTER TABLE traffic
    ADD COLUMN IF NOT EXISTS logged_at DateTime64(3, 'UTC')
        ALIAS fromUnixTimestamp64Milli(log_time, 'UTC');

ALTER TABLE tasks
    ADD COLUMN IF NOT EXISTS logged_at DateTime64(3, 'UTC')
        ALIAS fromUnixTimestamp64Milli(log_time, 'UTC');

ALTER TABLE dead_letters
    ADD COLUMN IF NOT EXISTS logged_at DateTime64(3, 'UTC')
        ALIAS fromUnixTimestamp64Milli(log_time, 'UTC');

ALTER TABLE halts
    ADD COLUMN IF NOT EXISTS logged_at DateTime64(3, 'UTC')
        ALIAS fromUnixTimestamp64Milli(log_time, 'UTC');

ALTER TABLE drops
    ADD COLUMN IF NOT EXISTS logged_at DateTime64(3, 'UTC')
        ALIAS fromUnixTimestamp64Milli(log_time, 'UTC');

ALTER TABLE calls
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN rollout_id 'rollout: one request to run an agent on a task',
    COMMENT COLUMN attempt 'attempt at the rollout',
    COMMENT COLUMN span_id 'span in the log',
    COMMENT COLUMN call_id 'rollout_id/attempt/span_id',
    COMMENT COLUMN agent 'agent or role that acted',
    COMMENT COLUMN name 'name of the call',
    COMMENT COLUMN model 'model that answered',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN response_id 'response id that the client saw',
    COMMENT COLUMN status 'unset, ok or error',
    COMMENT COLUMN version_min 'oldest policy version that sampled it',
    COMMENT COLUMN version_max 'newest policy version that sampled it',
    COMMENT COLUMN run_versions 'policy versions that sampled the tokens, in order',
    COMMENT COLUMN run_lengths 'how many tokens each of them sampled',
    COMMENT COLUMN temperature 'effective sampling temperature',
    COMMENT COLUMN finish_reason 'why the completion ended',
    COMMENT COLUMN trainable 'whether it may be trained',
    COMMENT COLUMN untrainable_reason 'why it may not be trained, in one word',
    COMMENT COLUMN prompt_tokens 'prompt tokens beyond those shared with an earlier call',
    COMMENT COLUMN completion_tokens 'tokens that the model sampled',
    COMMENT COLUMN logprob 'log-probability of the whole completion',
    COMMENT COLUMN input 'what it was given',
    COMMENT COLUMN output 'what it answered',
    COMMENT COLUMN logged_at 'log time: when the broker had it',
    COMMENT COLUMN milliseconds 'how long it took, by the agent''s clock',
    COMMENT COLUMN parent_id 'span that it is part of; empty: none';

ALTER TABLE credit_by_agent
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN version 'oldest policy version of the samples',
    COMMENT COLUMN agent 'agent or role that acted',
    COMMENT COLUMN samples 'samples',
    COMMENT COLUMN episodes 'episodes',
    COMMENT COLUMN trained 'samples trained',
    COMMENT COLUMN dropped 'samples dropped',
    COMMENT COLUMN mean_advantage 'mean advantage',
    COMMENT COLUMN mean_abs_advantage 'mean advantage without signs',
    COMMENT COLUMN share_of_weight 'the agent''s part of |advantage| × tokens in the version',
    COMMENT COLUMN tokens 'sampled tokens';

ALTER TABLE credits
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN group_id 'group of rollouts compared with each other',
    COMMENT COLUMN rule 'reward rule, name@version',
    COMMENT COLUMN credit 'credit method, call/baseline/token@version',
    COMMENT COLUMN version 'sum of the versions of the members',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN outcome
        'how the group was credited: train, zero_advantage, group_incomplete, reward_absent or eval',
    COMMENT COLUMN baseline 'what rewards were compared with in the group',
    COMMENT COLUMN mean 'mean reward of the group',
    COMMENT COLUMN std 'deviation of its rewards',
    COMMENT COLUMN rollout_id 'rollout: one request to run an agent on a task',
    COMMENT COLUMN attempt 'attempt at the rollout',
    COMMENT COLUMN status 'used, or why its episode is left out',
    COMMENT COLUMN reward 'reward of the episode; null: none',
    COMMENT COLUMN advantage 'how much better than the group''s baseline it was',
    COMMENT COLUMN calls 'model calls of the episode',
    COMMENT COLUMN detail 'what was wrong with its reward, for a person';

ALTER TABLE current_groups
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN group_id 'group of rollouts compared with each other',
    COMMENT COLUMN rule 'reward rule, name@version',
    COMMENT COLUMN credit 'credit method, call/baseline/token@version',
    COMMENT COLUMN row_version 'version of the row: the highest wins',
    COMMENT COLUMN version 'sum of the versions of the members',
    COMMENT COLUMN state 'open or final',
    COMMENT COLUMN partition 'partition of the topic that it came from',
    COMMENT COLUMN group_size 'rollouts in the group',
    COMMENT COLUMN group_rollouts 'all rollouts of the group, where their source knows them',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN deadline 'milliseconds of log time until which it may take; 0: none',
    COMMENT COLUMN close_by 'log time, milliseconds, at which an open one is closed',
    COMMENT COLUMN log_first 'log time of its first record, milliseconds',
    COMMENT COLUMN log_last 'log time of its newest record, milliseconds',
    COMMENT COLUMN outcome
        'how the group was credited: train, zero_advantage, group_incomplete, reward_absent or eval',
    COMMENT COLUMN baseline 'what rewards were compared with in the group',
    COMMENT COLUMN mean 'mean reward of the group',
    COMMENT COLUMN std 'deviation of its rewards',
    COMMENT COLUMN members 'episodes of the group, in the order in which they became complete',
    COMMENT COLUMN samples 'calls of its episodes, with their credit',
    COMMENT COLUMN missing_rollouts 'rollouts of which no episode came',
    COMMENT COLUMN running 'place of a group of one in the running mean of its policy';

ALTER TABLE current_rules
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN rule 'reward rule, name@version',
    COMMENT COLUMN credit 'credit method, call/baseline/token@version',
    COMMENT COLUMN since 'log time of the first group that has credit by it';

ALTER TABLE dead_letters
    COMMENT COLUMN topic 'topic that the record came from',
    COMMENT COLUMN partition 'its partition there',
    COMMENT COLUMN offset 'its offset there',
    COMMENT COLUMN reason 'why it could not be taken',
    COMMENT COLUMN message 'what was wrong, for a person',
    COMMENT COLUMN stage 'who could not take it',
    COMMENT COLUMN size 'bytes of its value',
    COMMENT COLUMN log_time 'milliseconds since the epoch: when it was put aside',
    COMMENT COLUMN logged_at 'log time: when the broker had it';

ALTER TABLE decisions
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN rollout_id 'rollout: one request to run an agent on a task',
    COMMENT COLUMN sample_id 'sample; empty where the rollout made none',
    COMMENT COLUMN trainer 'trainer that decided or published it',
    COMMENT COLUMN outcome 'trained or dropped',
    COMMENT COLUMN attempt 'attempt at the rollout',
    COMMENT COLUMN group_id 'group of rollouts compared with each other',
    COMMENT COLUMN agent 'agent or role that acted',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN reason 'why dropped; empty: trained',
    COMMENT COLUMN detail 'what exactly, for a person',
    COMMENT COLUMN step 'policy version that the step made; of a drop the version at the time',
    COMMENT COLUMN version_min 'oldest policy version among its tokens; -1: none',
    COMMENT COLUMN version_max 'newest policy version among its tokens; -1: none',
    COMMENT COLUMN staleness 'versions that its oldest token lagged behind',
    COMMENT COLUMN advantage 'advantage used',
    COMMENT COLUMN reward 'reward of its episode, as used',
    COMMENT COLUMN tokens 'tokens trained',
    COMMENT COLUMN rule 'reward rule of the credit used',
    COMMENT COLUMN credit 'credit method, call/baseline/token@version',
    COMMENT COLUMN credits_version 'version of the credits that were used',
    COMMENT COLUMN decided_at 'milliseconds since the epoch, the trainer''s clock',
    COMMENT COLUMN partition 'partition of the topic that it came from',
    COMMENT COLUMN offset 'offset of its record',
    COMMENT COLUMN log_time 'milliseconds since the epoch, the broker''s clock',
    COMMENT COLUMN logp_gap 'mean |Δ log p| over its tokens between engine and trainer',
    COMMENT COLUMN ratio_min 'least importance ratio among its tokens',
    COMMENT COLUMN ratio_max 'largest importance ratio among its tokens',
    COMMENT COLUMN clipped 'share of its tokens that the loss clipped or rejected',
    COMMENT COLUMN entropy 'mean entropy over its tokens before the step, nats',
    COMMENT COLUMN token_logprobs
        'log-probability of each token as the trainer saw it before the step; empty: not kept',
    COMMENT COLUMN token_entropies 'entropy at each token, nats; empty: not kept',
    COMMENT COLUMN token_masked '1: the token was left out of the loss; empty: not kept';

ALTER TABLE drop_ledger
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN state 'trained, dropped or pending',
    COMMENT COLUMN reason 'why dropped',
    COMMENT COLUMN samples 'samples';

ALTER TABLE drops
    COMMENT COLUMN stage 'who read it',
    COMMENT COLUMN consumer_group 'consumer group',
    COMMENT COLUMN topic 'topic',
    COMMENT COLUMN partition 'its partition',
    COMMENT COLUMN first_offset 'first offset that was given up',
    COMMENT COLUMN last_offset 'last offset that was given up',
    COMMENT COLUMN reason 'why, in one word to count by',
    COMMENT COLUMN detail 'what exactly, for a person',
    COMMENT COLUMN log_time 'milliseconds since the epoch, the broker''s clock',
    COMMENT COLUMN logged_at 'log time: when the broker had it';

ALTER TABLE episodes
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN rollout_id 'rollout: one request to run an agent on a task',
    COMMENT COLUMN attempt 'attempt at the rollout',
    COMMENT COLUMN version '2 × spans + closed: the highest wins',
    COMMENT COLUMN state 'open or closed',
    COMMENT COLUMN subject 'whose data it is',
    COMMENT COLUMN partition 'partition of the topic that it came from',
    COMMENT COLUMN group_id 'group of rollouts compared with each other',
    COMMENT COLUMN group_size 'rollouts in the group',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN deadline 'milliseconds of log time until which it may take; 0: none',
    COMMENT COLUMN close_by 'log time, milliseconds, at which an open episode is closed',
    COMMENT COLUMN n_spans 'spans',
    COMMENT COLUMN digest 'sum of the hashes of its spans',
    COMMENT COLUMN closed_by 'end, idle or deadline',
    COMMENT COLUMN status 'unset, ok or error',
    COMMENT COLUMN complete 'whether nothing of it is missing',
    COMMENT COLUMN missing_batches 'batches of spans that never came',
    COMMENT COLUMN log_first 'log time of its first record, milliseconds',
    COMMENT COLUMN log_last 'log time of its newest record, milliseconds',
    COMMENT COLUMN task_input 'what the agent was asked to do',
    COMMENT COLUMN expected 'expected answer',
    COMMENT COLUMN result 'what the agent returned',
    COMMENT COLUMN calls 'model calls',
    COMMENT COLUMN tools 'tool executions',
    COMMENT COLUMN rewards 'reward spans',
    COMMENT COLUMN prompt_tokens 'tokens of the prompt',
    COMMENT COLUMN completion_tokens 'tokens that the model sampled',
    COMMENT COLUMN version_min 'oldest policy version among its tokens; -1: none',
    COMMENT COLUMN version_max 'newest policy version among its tokens; -1: none',
    COMMENT COLUMN signals 'errors and other signs, by name, with how often each was seen',
    COMMENT COLUMN contexts
        'agent and parent that a framework''s span gave a call of the gateway''s',
    COMMENT COLUMN first_at 'log time of its first record',
    COMMENT COLUMN last_at 'log time of its newest record';

ALTER TABLE evaluations
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN version 'version that the task is pinned to',
    COMMENT COLUMN task_key 'equal for equal tasks and expected answers',
    COMMENT COLUMN task_input 'what the agent was asked to do',
    COMMENT COLUMN expected 'expected answer',
    COMMENT COLUMN rollout_id 'rollout: one request to run an agent on a task',
    COMMENT COLUMN attempt 'attempt at the rollout',
    COMMENT COLUMN reward 'reward of the episode; null: none',
    COMMENT COLUMN status 'how the attempt ended: unset, ok or error',
    COMMENT COLUMN result 'what the agent returned',
    COMMENT COLUMN completion_tokens 'tokens that the model sampled',
    COMMENT COLUMN milliseconds 'from its first to its last span, by log time',
    COMMENT COLUMN asked_at 'log time of its task';

ALTER TABLE freshness
    COMMENT COLUMN stage 'stage of the pipeline',
    COMMENT COLUMN table 'table that the stage fills',
    COMMENT COLUMN partition 'partition of the topic that it came from',
    COMMENT COLUMN newest_at 'log time of its newest record',
    COMMENT COLUMN age_ms 'milliseconds since then, by ClickHouse''s clock';

ALTER TABLE group_outcomes
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN version 'oldest policy version of the groups',
    COMMENT COLUMN outcome
        'how the group was credited: train, zero_advantage, group_incomplete, reward_absent or eval',
    COMMENT COLUMN groups 'groups that ended so',
    COMMENT COLUMN share 'share of the version''s groups',
    COMMENT COLUMN mean_std 'mean deviation of rewards within these groups';

ALTER TABLE groups
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN group_id 'group of rollouts compared with each other',
    COMMENT COLUMN rule 'reward rule, name@version',
    COMMENT COLUMN credit 'credit method, call/baseline/token@version',
    COMMENT COLUMN row_version 'version of the row: the highest wins',
    COMMENT COLUMN version 'sum of the versions of the members',
    COMMENT COLUMN state 'open or final',
    COMMENT COLUMN partition 'partition of the topic that it came from',
    COMMENT COLUMN group_size 'rollouts in the group',
    COMMENT COLUMN group_rollouts 'all rollouts of the group, where their source knows them',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN deadline 'milliseconds of log time until which it may take; 0: none',
    COMMENT COLUMN close_by 'log time, milliseconds, at which an open one is closed',
    COMMENT COLUMN log_first 'log time of its first record, milliseconds',
    COMMENT COLUMN log_last 'log time of its newest record, milliseconds',
    COMMENT COLUMN outcome
        'how the group was credited: train, zero_advantage, group_incomplete, reward_absent or eval',
    COMMENT COLUMN baseline 'what rewards were compared with in the group',
    COMMENT COLUMN mean 'mean reward of the group',
    COMMENT COLUMN std 'deviation of its rewards',
    COMMENT COLUMN members 'episodes of the group, in the order in which they became complete',
    COMMENT COLUMN samples 'calls of its episodes, with their credit',
    COMMENT COLUMN missing_rollouts 'rollouts of which no episode came',
    COMMENT COLUMN running 'place of a group of one in the running mean of its policy',
    COMMENT COLUMN first_at 'log time of its first record',
    COMMENT COLUMN last_at 'log time of its newest record';

ALTER TABLE halts
    COMMENT COLUMN stage 'who reads it',
    COMMENT COLUMN consumer_group 'consumer group',
    COMMENT COLUMN topic 'topic',
    COMMENT COLUMN partition 'partition that stands still',
    COMMENT COLUMN first_offset 'first offset that was not taken',
    COMMENT COLUMN end_offset
        'log_lost: first offset that the log still holds, else first_offset',
    COMMENT COLUMN state 'halted or resumed',
    COMMENT COLUMN reason 'poison, log_lost or non_finite',
    COMMENT COLUMN detail 'what exactly, for a person',
    COMMENT COLUMN offset 'offset of this record in the topic of halts',
    COMMENT COLUMN log_time 'milliseconds since the epoch, the broker''s clock',
    COMMENT COLUMN logged_at 'log time: when the broker had it';

ALTER TABLE latency_by_policy
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN version 'oldest policy version of the episodes',
    COMMENT COLUMN kind 'kind of the span: call, tool, reward, event, …',
    COMMENT COLUMN name 'name of the call or tool',
    COMMENT COLUMN calls 'executions',
    COMMENT COLUMN errors 'executions that failed',
    COMMENT COLUMN p50 'median, milliseconds',
    COMMENT COLUMN p90 '90 % took at most so many milliseconds',
    COMMENT COLUMN p99 '99 % took at most so many milliseconds';

ALTER TABLE ledger_balance
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN asked 'rollouts that were asked for',
    COMMENT COLUMN unasked 'rollouts that came without a task',
    COMMENT COLUMN not_started 'asked for, and nobody began',
    COMMENT COLUMN running 'at work',
    COMMENT COLUMN waiting 'ended, and their group is not decided',
    COMMENT COLUMN credited 'credited, and the trainer has not decided',
    COMMENT COLUMN trained 'rollouts of which something was trained',
    COMMENT COLUMN dropped 'rollouts of which nothing was trained',
    COMMENT COLUMN evaluated 'rollouts of eval tasks that are decided',
    COMMENT COLUMN decided_twice 'rollouts with a sample that was decided twice',
    COMMENT COLUMN balanced 'whether all are accounted for, and each once';

ALTER TABLE lineage
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN version 'version that was made of it',
    COMMENT COLUMN trainer 'trainer that decided or published it',
    COMMENT COLUMN group_id 'group of rollouts compared with each other',
    COMMENT COLUMN rollout_id 'rollout: one request to run an agent on a task',
    COMMENT COLUMN attempt 'attempt at the rollout',
    COMMENT COLUMN sample_id 'call_id/choice: the unit that is trained',
    COMMENT COLUMN agent 'agent or role that acted',
    COMMENT COLUMN tokens 'tokens trained',
    COMMENT COLUMN staleness 'versions that its oldest token lagged behind',
    COMMENT COLUMN rule 'reward rule that was used',
    COMMENT COLUMN credit 'credit method, call/baseline/token@version',
    COMMENT COLUMN credits_version 'version of the credits that were used',
    COMMENT COLUMN reward_used 'reward of the episode that was used',
    COMMENT COLUMN advantage_used 'advantage that was used',
    COMMENT COLUMN reward_now 'reward of the episode as it is now',
    COMMENT COLUMN advantage_now 'advantage as it is now; null: not credited any more',
    COMMENT COLUMN rule_now 'reward rule of the credit of now',
    COMMENT COLUMN revised 'whether reward or advantage are others now',
    COMMENT COLUMN trained_at 'log time of the commit';

ALTER TABLE messages
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN rollout_id 'rollout: one request to run an agent on a task',
    COMMENT COLUMN attempt 'attempt at the rollout',
    COMMENT COLUMN span_id 'span in the log',
    COMMENT COLUMN call_id 'rollout_id/attempt/span_id',
    COMMENT COLUMN agent 'agent or role that acted',
    COMMENT COLUMN position 'place in the call, from 1 on; the answer comes last',
    COMMENT COLUMN role 'who says it: system, user, assistant or tool',
    COMMENT COLUMN content 'text, or JSON of the parts',
    COMMENT COLUMN name 'name that the message bears',
    COMMENT COLUMN tool_calls 'calls of tools, as JSON',
    COMMENT COLUMN tool_call_id 'call of a tool that it answers',
    COMMENT COLUMN is_output 'whether it is the call''s answer',
    COMMENT COLUMN is_new 'whether it was not in its place in the same agent''s call before',
    COMMENT COLUMN called_at 'beginning of the call, by the agent''s clock';

ALTER TABLE outcomes
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN rollout_id 'rollout: one request to run an agent on a task',
    COMMENT COLUMN sample_id 'sample; empty where the rollout made none',
    COMMENT COLUMN trainer 'trainer that decided or published it',
    COMMENT COLUMN outcome 'trained, dropped or revised',
    COMMENT COLUMN attempt 'attempt at the rollout',
    COMMENT COLUMN group_id 'group of rollouts compared with each other',
    COMMENT COLUMN agent 'agent or role that acted',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN reason 'why dropped or revised; empty: trained',
    COMMENT COLUMN detail 'what exactly, for a person',
    COMMENT COLUMN step 'policy version that the step made; of a drop the version at the time',
    COMMENT COLUMN version_min 'oldest policy version among its tokens; -1: none',
    COMMENT COLUMN version_max 'newest policy version among its tokens; -1: none',
    COMMENT COLUMN staleness 'versions that its oldest token lagged behind',
    COMMENT COLUMN advantage 'advantage used',
    COMMENT COLUMN reward 'reward of its episode, as used',
    COMMENT COLUMN tokens 'tokens trained',
    COMMENT COLUMN rule 'reward rule of the credit used',
    COMMENT COLUMN credit 'credit method, call/baseline/token@version',
    COMMENT COLUMN credits_version 'version of the credits that were used',
    COMMENT COLUMN decided_at 'milliseconds since the epoch, the trainer''s clock',
    COMMENT COLUMN partition 'partition of the topic that it came from',
    COMMENT COLUMN offset 'offset of its record',
    COMMENT COLUMN log_time 'milliseconds since the epoch, the broker''s clock',
    COMMENT COLUMN logp_gap 'mean |Δ log p| over its tokens between engine and trainer',
    COMMENT COLUMN ratio_min 'least importance ratio among its tokens',
    COMMENT COLUMN ratio_max 'largest importance ratio among its tokens',
    COMMENT COLUMN clipped 'share of its tokens that the loss clipped or rejected',
    COMMENT COLUMN entropy 'mean entropy over its tokens before the step, nats',
    COMMENT COLUMN token_logprobs
        'log-probability of each token as the trainer saw it before the step; empty: not kept',
    COMMENT COLUMN token_entropies 'entropy at each token, nats; empty: not kept',
    COMMENT COLUMN token_masked '1: the token was left out of the loss; empty: not kept',
    COMMENT COLUMN logged_at 'log time: when the broker had it';

ALTER TABLE policies
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN version 'policy version',
    COMMENT COLUMN parent 'version that it was trained from; -1: none',
    COMMENT COLUMN created_at 'milliseconds since the epoch, the trainer''s clock',
    COMMENT COLUMN trainer 'trainer that decided or published it',
    COMMENT COLUMN uri 'folder of the checkpoint',
    COMMENT COLUMN content_hash 'hash of the whole checkpoint',
    COMMENT COLUMN weights_hash 'hash of the weights',
    COMMENT COLUMN config_hash 'hash of the trainer''s settings',
    COMMENT COLUMN base_model 'model that the policy began from',
    COMMENT COLUMN base_hash 'hash of the base model''s weights',
    COMMENT COLUMN reference 'what its KL was taken to: name and hash',
    COMMENT COLUMN groups 'groups that it was trained on',
    COMMENT COLUMN samples 'samples that it was trained on',
    COMMENT COLUMN metrics 'metrics of the step, by name',
    COMMENT COLUMN offsets 'where its trainer stood in the log',
    COMMENT COLUMN offset 'offset of its record',
    COMMENT COLUMN log_time 'milliseconds since the epoch, the broker''s clock',
    COMMENT COLUMN logged_at 'log time: when the broker had it';

ALTER TABLE policy_metrics
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN version 'policy version',
    COMMENT COLUMN trainer 'trainer that decided or published it',
    COMMENT COLUMN metric 'name of the metric',
    COMMENT COLUMN value 'value',
    COMMENT COLUMN created_at 'when its trainer made it';

ALTER TABLE prices
    COMMENT COLUMN model 'policy, or model where a call has none',
    COMMENT COLUMN since 'from when on it costs that',
    COMMENT COLUMN per_million_prompt 'price of a million prompt tokens',
    COMMENT COLUMN per_million_completion 'price of a million sampled tokens',
    COMMENT COLUMN per_second 'price of a second of a call';

ALTER TABLE repeated_batches
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN rollout_id 'rollout: one request to run an agent on a task',
    COMMENT COLUMN attempt 'attempt at the rollout',
    COMMENT COLUMN producer 'who sealed the batch',
    COMMENT COLUMN episode_batch 'number of the batch for its attempt',
    COMMENT COLUMN partition 'partition of the topic that it came from',
    COMMENT COLUMN offset 'where it stood first',
    COMMENT COLUMN log_time 'milliseconds since the epoch, the broker''s clock',
    COMMENT COLUMN ver 'minus the offset: the first occurrence wins',
    COMMENT COLUMN logged_at 'log time: when the broker had it';

ALTER TABLE replays
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN group_id 'group of rollouts compared with each other',
    COMMENT COLUMN rule 'reward rule, name@version',
    COMMENT COLUMN credit 'credit method, call/baseline/token@version',
    COMMENT COLUMN row_version 'version of the row: the highest wins',
    COMMENT COLUMN version 'sum of the versions of the members',
    COMMENT COLUMN state 'open or final',
    COMMENT COLUMN partition 'partition of the topic that it came from',
    COMMENT COLUMN group_size 'rollouts in the group',
    COMMENT COLUMN group_rollouts 'all rollouts of the group, where their source knows them',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN deadline 'milliseconds of log time until which it may take; 0: none',
    COMMENT COLUMN close_by 'log time, milliseconds, at which an open one is closed',
    COMMENT COLUMN log_first 'log time of its first record, milliseconds',
    COMMENT COLUMN log_last 'log time of its newest record, milliseconds',
    COMMENT COLUMN outcome
        'how the group was credited: train, zero_advantage, group_incomplete, reward_absent or eval',
    COMMENT COLUMN baseline 'what rewards were compared with in the group',
    COMMENT COLUMN mean 'mean reward of the group',
    COMMENT COLUMN std 'deviation of its rewards',
    COMMENT COLUMN members 'episodes of the group, in the order in which they became complete',
    COMMENT COLUMN samples 'calls of its episodes, with their credit',
    COMMENT COLUMN missing_rollouts 'rollouts of which no episode came',
    COMMENT COLUMN running 'place of a group of one in the running mean of its policy',
    COMMENT COLUMN first_at 'log time of its first record',
    COMMENT COLUMN last_at 'log time of its newest record';

ALTER TABLE reward_by_policy
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN version 'oldest policy version of the episodes',
    COMMENT COLUMN episodes 'episodes',
    COMMENT COLUMN reward 'mean reward',
    COMMENT COLUMN deviation 'sample standard deviation of the rewards',
    COMMENT COLUMN low 'lower end of the 95 % interval of the mean',
    COMMENT COLUMN high 'upper end of the 95 % interval of the mean';

ALTER TABLE reward_dimensions
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN version 'oldest policy version of the episodes',
    COMMENT COLUMN origin 'who gave it: span, rule or dimension',
    COMMENT COLUMN name 'name of the rule, dimension or reward',
    COMMENT COLUMN episodes 'episodes',
    COMMENT COLUMN mean 'mean value',
    COMMENT COLUMN deviation 'sample standard deviation of the rewards',
    COMMENT COLUMN low 'lower end of the 95 % interval of the mean',
    COMMENT COLUMN high 'upper end of the 95 % interval of the mean';

ALTER TABLE rewards
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN rollout_id 'rollout: one request to run an agent on a task',
    COMMENT COLUMN attempt 'attempt at the rollout',
    COMMENT COLUMN span_id 'span that gave it; empty: a rule did',
    COMMENT COLUMN name 'name of the reward, rule or dimension',
    COMMENT COLUMN value 'value',
    COMMENT COLUMN source 'who gave it',
    COMMENT COLUMN target 'call or response that it is aimed at; empty: the episode',
    COMMENT COLUMN origin 'who gave it: span, rule or dimension',
    COMMENT COLUMN logged_at 'log time: when the broker had it';

ALTER TABLE rollouts
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN rollout_id 'rollout: one request to run an agent on a task',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN group_id 'group of rollouts compared with each other',
    COMMENT COLUMN agent 'agent that its task names',
    COMMENT COLUMN pinned_version 'version that was asked for; null: whichever is served',
    COMMENT COLUMN asked_at 'log time of its task; null: none asked for it',
    COMMENT COLUMN started_at 'log time of its first span',
    COMMENT COLUMN ended_at 'log time of its last span, once it is closed',
    COMMENT COLUMN credited_at 'log time of its group''s newest record, once it is decided',
    COMMENT COLUMN decided_at 'log time at which the trainer''s decision was written',
    COMMENT COLUMN state 'asked, running, waiting, credited, trained, dropped or evaluated',
    COMMENT COLUMN reason 'why it does not move on, or was dropped',
    COMMENT COLUMN attempts 'attempts that were seen',
    COMMENT COLUMN attempt 'attempt that its group used, else the last one',
    COMMENT COLUMN status 'unset, ok or error',
    COMMENT COLUMN complete 'whether nothing of it is missing',
    COMMENT COLUMN calls 'model calls',
    COMMENT COLUMN tools 'tool executions',
    COMMENT COLUMN prompt_tokens 'tokens of the prompt',
    COMMENT COLUMN completion_tokens 'tokens that the model sampled',
    COMMENT COLUMN version_min 'oldest policy version among its tokens; -1: none',
    COMMENT COLUMN version_max 'newest policy version among its tokens; -1: none',
    COMMENT COLUMN reward 'reward of the episode; null: none',
    COMMENT COLUMN advantage 'advantage of its episode',
    COMMENT COLUMN signals 'errors and other signs, by name, with how often each was seen',
    COMMENT COLUMN task_input 'what the agent was asked to do',
    COMMENT COLUMN expected 'expected answer';

ALTER TABLE rule_changes
    COMMENT COLUMN number 'from 1 on; the highest is in force',
    COMMENT COLUMN rule 'reward rule, name@version',
    COMMENT COLUMN credit 'credit method, call/baseline/token@version';

ALTER TABLE rules
    COMMENT COLUMN rule 'reward rule, name@version',
    COMMENT COLUMN digest 'hash of its code',
    COMMENT COLUMN text 'its source, where there is one';

ALTER TABLE samples
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN group_id 'group of rollouts compared with each other',
    COMMENT COLUMN rule 'reward rule, name@version',
    COMMENT COLUMN credit 'credit method, call/baseline/token@version',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN group_outcome 'how its group was credited',
    COMMENT COLUMN sample_id 'call_id/choice: the unit that is trained',
    COMMENT COLUMN rollout_id 'rollout: one request to run an agent on a task',
    COMMENT COLUMN attempt 'attempt at the rollout',
    COMMENT COLUMN agent 'agent or role that acted',
    COMMENT COLUMN advantage 'advantage of its tokens, before token weights',
    COMMENT COLUMN trainable 'whether it may be trained',
    COMMENT COLUMN reason 'why it may not be trained',
    COMMENT COLUMN version_min 'oldest policy version among its tokens; -1: none',
    COMMENT COLUMN version_max 'newest policy version among its tokens; -1: none',
    COMMENT COLUMN tokens 'sampled tokens',
    COMMENT COLUMN reward 'reward of the call, where its method gives one',
    COMMENT COLUMN answered_by 'policy that answered the call';

ALTER TABLE served
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN version 'policy version',
    COMMENT COLUMN served_from 'when the policy''s name began to stand for it',
    COMMENT COLUMN served_to 'when another took its place; null: it stands for it now';

ALTER TABLE signals_by_policy
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN version 'oldest policy version of the episodes',
    COMMENT COLUMN signal 'name of the signal',
    COMMENT COLUMN episodes 'episodes that showed it',
    COMMENT COLUMN count 'how often it was seen',
    COMMENT COLUMN share 'share of the version''s closed episodes that showed it';

ALTER TABLE spans
    COMMENT COLUMN project 'project',
    COMMENT COLUMN rollout_id 'rollout',
    COMMENT COLUMN attempt 'attempt at the rollout',
    COMMENT COLUMN span_id 'the span; unique in its attempt',
    COMMENT COLUMN subject 'whose data it is',
    COMMENT COLUMN partition 'its partition of `headrace.spans`',
    COMMENT COLUMN offset 'offset of its record',
    COMMENT COLUMN log_time 'milliseconds, the broker''s clock',
    COMMENT COLUMN ver 'minus the offset: the first occurrence wins',
    COMMENT COLUMN producer 'who sealed the batch: one incarnation',
    COMMENT COLUMN sequence 'number of the batch, by producer and partition',
    COMMENT COLUMN episode_batch 'number of the batch for this attempt',
    COMMENT COLUMN parent_id 'span that it is part of; empty: none',
    COMMENT COLUMN kind
        '`span`, `attempt.start`, `attempt.end`, `call`, `tool`, `reward`, `event`, `exception`, `call.context`',
    COMMENT COLUMN name 'what was done: of the tool, event, call',
    COMMENT COLUMN agent 'agent or role that acted',
    COMMENT COLUMN status '`unset`, `ok` or `error`',
    COMMENT COLUMN started_at 'nanoseconds, the agent''s clock',
    COMMENT COLUMN ended_at 'nanoseconds, the agent''s clock',
    COMMENT COLUMN model 'model that answered',
    COMMENT COLUMN policy 'policy of the call, or of the attempt',
    COMMENT COLUMN response_id 'response id that the client saw',
    COMMENT COLUMN run_versions 'policy versions that sampled the tokens, in order',
    COMMENT COLUMN run_lengths 'how many tokens each of them sampled',
    COMMENT COLUMN temperature 'effective sampling temperature',
    COMMENT COLUMN top_p 'effective top-p',
    COMMENT COLUMN top_k 'effective top-k; 0: off',
    COMMENT COLUMN seed 'sampling seed',
    COMMENT COLUMN max_tokens 'limit of the completion',
    COMMENT COLUMN finish_reason 'why the completion ended',
    COMMENT COLUMN trainable 'whether its producer held it for trainable',
    COMMENT COLUMN untrainable_reason 'why it is not trainable',
    COMMENT COLUMN prompt_base 'call whose tokens the prompt begins with',
    COMMENT COLUMN prompt_base_length 'how many tokens it takes from it',
    COMMENT COLUMN reward_name 'dimension of the reward',
    COMMENT COLUMN reward_value 'the reward; null in every other span',
    COMMENT COLUMN reward_source 'who gave it',
    COMMENT COLUMN reward_target 'call or response it belongs to; empty: the episode',
    COMMENT COLUMN group_id 'group of the rollout',
    COMMENT COLUMN group_size 'rollouts in the group',
    COMMENT COLUMN group_rollouts 'all rollouts of the group, where its source knows them',
    COMMENT COLUMN split '`train` or `eval`',
    COMMENT COLUMN deadline 'milliseconds, log time; 0: none',
    COMMENT COLUMN expected 'expected answer',
    COMMENT COLUMN last_episode_batch
        'last `episode_batch` of the producer; -1 but in an end span',
    COMMENT COLUMN has_content 'whether its batch holds texts, tokens or attributes',
    COMMENT COLUMN attributes 'further facts, as JSON',
    COMMENT COLUMN input 'task input, messages, arguments',
    COMMENT COLUMN output 'completion, tool result, result',
    COMMENT COLUMN prompt_ids 'prompt tokens beyond `prompt_base_length`',
    COMMENT COLUMN sampled_ids 'tokens that the model sampled',
    COMMENT COLUMN logprobs 'their log-probabilities under the sampling distribution',
    COMMENT COLUMN logged_at 'log time: when the broker had it';

ALTER TABLE staleness
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN version 'version that the step made',
    COMMENT COLUMN staleness 'versions that the oldest token lagged behind',
    COMMENT COLUMN samples 'samples',
    COMMENT COLUMN share 'share of the step''s samples';

ALTER TABLE tasks
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN rollout_id 'rollout: one request to run an agent on a task',
    COMMENT COLUMN group_id 'group of rollouts compared with each other',
    COMMENT COLUMN group_size 'rollouts in the group',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN version 'version that it is pinned to; -1: none',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN agent 'agent to run, module:function',
    COMMENT COLUMN input 'what the agent is asked to do',
    COMMENT COLUMN expected 'expected answer',
    COMMENT COLUMN deadline 'milliseconds of log time until which it may take; 0: none',
    COMMENT COLUMN subject 'whose data it is',
    COMMENT COLUMN partition 'partition of the topic that it came from',
    COMMENT COLUMN offset 'offset of its record',
    COMMENT COLUMN log_time 'milliseconds since the epoch, the broker''s clock',
    COMMENT COLUMN logged_at 'log time: when the broker had it';

ALTER TABLE timeline
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN rollout_id 'rollout: one request to run an agent on a task',
    COMMENT COLUMN attempt 'attempt at the rollout',
    COMMENT COLUMN span_id 'span in the log',
    COMMENT COLUMN parent_id 'span that it is part of; empty: none',
    COMMENT COLUMN kind 'kind of the span: call, tool, reward, event, …',
    COMMENT COLUMN name 'what was done: name of the tool, event or call',
    COMMENT COLUMN agent 'agent or role that acted',
    COMMENT COLUMN status 'unset, ok or error',
    COMMENT COLUMN started_at 'beginning, by the agent''s clock',
    COMMENT COLUMN ended_at 'end, by the agent''s clock',
    COMMENT COLUMN from_ms 'milliseconds since the episode''s first span',
    COMMENT COLUMN milliseconds 'how long it took, by the agent''s clock',
    COMMENT COLUMN prompt_tokens 'tokens of the prompt, shared ones too',
    COMMENT COLUMN completion_tokens 'tokens that the model sampled',
    COMMENT COLUMN version_min 'oldest policy version that sampled it; null: none',
    COMMENT COLUMN version_max 'newest policy version that sampled it; null: none',
    COMMENT COLUMN finish_reason 'why the completion ended',
    COMMENT COLUMN trainable 'whether it may be trained',
    COMMENT COLUMN untrainable_reason 'why it may not be trained, in one word',
    COMMENT COLUMN reward_name 'name of the reward that it gives',
    COMMENT COLUMN reward_value 'value of the reward that it gives',
    COMMENT COLUMN input_characters 'length of the input',
    COMMENT COLUMN output_characters 'length of the output',
    COMMENT COLUMN input_preview 'first 200 characters of the input',
    COMMENT COLUMN output_preview 'first 200 characters of the output',
    COMMENT COLUMN partition 'partition of the topic that it came from',
    COMMENT COLUMN offset 'offset of its record',
    COMMENT COLUMN logged_at 'log time: when the broker had it';

ALTER TABLE tokens
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN rollout_id 'rollout: one request to run an agent on a task',
    COMMENT COLUMN attempt 'attempt at the rollout',
    COMMENT COLUMN span_id 'span in the log',
    COMMENT COLUMN call_id 'rollout_id/attempt/span_id',
    COMMENT COLUMN agent 'agent or role that acted',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN position 'place in the completion, from 1 on',
    COMMENT COLUMN token_id 'id of the token in the policy''s vocabulary',
    COMMENT COLUMN text
        'text of the token, with � for a part of a character; empty: the vocabulary lacks it',
    COMMENT COLUMN bytes_hex 'its bytes; joined and unhexed they are the text of the completion',
    COMMENT COLUMN logprob 'log-probability under the sampling distribution',
    COMMENT COLUMN version 'policy version that sampled it',
    COMMENT COLUMN advantage 'advantage of its call now; null: not credited',
    COMMENT COLUMN weight 'its share of the advantage; 1: all alike',
    COMMENT COLUMN trainer_logprob 'log-probability as the trainer saw it; null: not kept',
    COMMENT COLUMN gap 'trainer_logprob - logprob',
    COMMENT COLUMN entropy 'entropy of the policy at it, nats; null: not kept',
    COMMENT COLUMN masked 'whether it was left out of the loss; null: not kept';

ALTER TABLE tokens_by_policy
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN version 'oldest policy version of the calls; -1: none',
    COMMENT COLUMN day 'day of log time, UTC',
    COMMENT COLUMN calls 'model calls',
    COMMENT COLUMN prompt_tokens 'tokens of prompts, shared ones too',
    COMMENT COLUMN completion_tokens 'tokens that the model sampled',
    COMMENT COLUMN trained_tokens 'sampled tokens that were trained',
    COMMENT COLUMN dropped_tokens 'sampled tokens that were dropped',
    COMMENT COLUMN call_seconds 'seconds that calls took, by the agents'' clocks';

ALTER TABLE traffic
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN version 'version that the policy''s name stands for; -1: the newest',
    COMMENT COLUMN shares 'versions that some of the rollouts get instead, and how many',
    COMMENT COLUMN offset 'offset of its record',
    COMMENT COLUMN log_time 'milliseconds since the epoch, the broker''s clock',
    COMMENT COLUMN logged_at 'log time: when the broker had it';

ALTER TABLE transitions
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN rollout_id 'rollout: one request to run an agent on a task',
    COMMENT COLUMN attempt 'attempt at the rollout',
    COMMENT COLUMN step 'place in the rollout, from 1 on',
    COMMENT COLUMN span_id 'span in the log',
    COMMENT COLUMN kind 'call or tool',
    COMMENT COLUMN name 'what was done: name of the tool, event or call',
    COMMENT COLUMN agent 'agent or role that acted',
    COMMENT COLUMN parent_id 'span that it is part of; empty: none',
    COMMENT COLUMN caller_id 'call that a tool belongs to',
    COMMENT COLUMN state 'what the call was given',
    COMMENT COLUMN action 'what was done: the completion, or the tool''s arguments',
    COMMENT COLUMN observation 'what a tool gave back',
    COMMENT COLUMN reward 'reward of the transition',
    COMMENT COLUMN next_id 'call that comes next; empty: none',
    COMMENT COLUMN terminal 'whether nothing comes next',
    COMMENT COLUMN status 'unset, ok or error',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN run_versions 'policy versions that sampled the tokens, in order',
    COMMENT COLUMN prompt_tokens 'prompt tokens beyond those shared with an earlier call',
    COMMENT COLUMN completion_tokens 'tokens that the model sampled',
    COMMENT COLUMN rule 'reward rule, name@version',
    COMMENT COLUMN credit 'credit method, call/baseline/token@version',
    COMMENT COLUMN advantage 'how much better than the group''s baseline it was',
    COMMENT COLUMN trainable 'whether it may be trained',
    COMMENT COLUMN reason 'why it may not be trained',
    COMMENT COLUMN episode_reward 'reward of the episode',
    COMMENT COLUMN started_at 'nanoseconds, the agent''s clock',
    COMMENT COLUMN ended_at 'nanoseconds, the agent''s clock',
    COMMENT COLUMN log_time 'milliseconds since the epoch, the broker''s clock',
    COMMENT COLUMN prompt_base 'call whose tokens the prompt begins with',
    COMMENT COLUMN prompt_base_length 'how many tokens it takes from it',
    COMMENT COLUMN prompt_ids 'prompt tokens beyond prompt_base_length',
    COMMENT COLUMN sampled_ids 'tokens that the model sampled',
    COMMENT COLUMN logprobs 'their log-probabilities under the sampling distribution';

ALTER TABLE versions
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN version 'policy version',
    COMMENT COLUMN parent 'version that it was trained from; -1: none',
    COMMENT COLUMN trainer 'trainer that decided or published it',
    COMMENT COLUMN created_at 'when its trainer made it',
    COMMENT COLUMN base_model 'model that the policy began from',
    COMMENT COLUMN weights_hash 'hash of the weights',
    COMMENT COLUMN config_hash 'hash of the trainer''s settings',
    COMMENT COLUMN groups 'groups that it was trained on',
    COMMENT COLUMN episodes 'episodes that it was trained on',
    COMMENT COLUMN samples 'samples that it was trained on',
    COMMENT COLUMN tokens 'tokens that it was trained on',
    COMMENT COLUMN train_reward 'mean reward of the training episodes that it answered',
    COMMENT COLUMN eval_reward 'mean reward of the evaluated episodes that it answered',
    COMMENT COLUMN eval_episodes 'evaluated episodes that it answered',
    COMMENT COLUMN logp_gap 'mean |Δ log p| between engine and trainer',
    COMMENT COLUMN ess 'effective share of samples under the importance ratios',
    COMMENT COLUMN kl_k3 'KL between behaviour and policy before the step',
    COMMENT COLUMN clip_fraction 'share of tokens that the loss clipped',
    COMMENT COLUMN entropy 'mean entropy of the policy, nats',
    COMMENT COLUMN staleness_mean 'mean lag of the rows',
    COMMENT COLUMN seconds 'seconds that the step took',
    COMMENT COLUMN dropped 'samples that were dropped while it was the newest',
    COMMENT COLUMN served_from 'when the policy''s name began to stand for it',
    COMMENT COLUMN served_to 'when another took its place; null: it stands for it now';

ALTER TABLE vocabulary
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN token_id 'id of the token in the policy''s vocabulary',
    COMMENT COLUMN bytes 'bytes that the token stands for; may be a part of a character';

ALTER TABLE rewards_as_of MODIFY COMMENT
    'project, rollout_id, attempt, span_id, name, value, source, target, logged_at: reward spans known when a policy''s version was committed';

ALTER TABLE trained_as_of MODIFY COMMENT
    'columns of lineage: samples of a policy''s version and its ancestors';

ALTER TABLE compare_versions MODIFY COMMENT
    'project, task_key, task_input, expected, reward_a, reward_b, verdict, rollout_a, attempt_a, rollout_b, attempt_b: tasks that versions a and b of a policy both answered';

ALTER TABLE compare_rules MODIFY COMMENT
    'project, policy, split, group_id, rollout_id, attempt, reward_a, reward_b, advantage_a, advantage_b, sign_flip, outcome_a, outcome_b: episodes that two pairs of rule and method credited';

ALTER TABLE cost_per_solved MODIFY COMMENT
    'project, policy, split, version, episodes, solved, solved_share, cost, cost_per_episode, cost_per_solved, unpriced_calls: what rollouts with a reward of at least the threshold have cost, failed ones paid for too';
