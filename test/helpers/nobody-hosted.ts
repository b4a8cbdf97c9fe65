/** For bridges that run by themselves, without a node behind them that could host accounts. */
import { OpenIMError } from '../../crypto/errors.ts'
import type { HostedDirectory } from '../../node/bridge-host.ts'

export const nobodyHosted: HostedDirectory = {
  open: () => Promise.reject(new OpenIMError('HOSTED_LIMIT', 'there is no node here that hosts anybody')),
  client: () => undefined,
  list: () => Promise.resolve([]),
  remove: () => Promise.resolve(),
}
