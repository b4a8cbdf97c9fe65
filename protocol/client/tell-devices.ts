/**
 * Tells the node which devices it lets in besides this one, which is the primary: in every new
 * session, after every change, and before a device that is being linked gets its account, so that the
 * node knows it when it logs in.
 */
import type { Context } from './context.ts'
import type { Uplink } from './uplink.ts'

/** False when it has to be said again. */
export async function tellDevices(context: Context, uplink: Uplink): Promise<boolean> {
  const { account, own } = context
  const siblings = own.devices.filter(({ deviceId }) => deviceId !== account.deviceId)
  const linkKeys = siblings.map(({ linkKey }) => linkKey)
  return (await uplink.request({ type: 'devices', linkKeys }, 'devicesSet')).ok
}
