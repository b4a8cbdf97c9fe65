/** `publish`, `locate`: the device's side of the location database. */
import type { FrameHandler } from '../handler.ts'

export const handlePublish: FrameHandler<'publish'> = async ({ locations, reply }, frame) => {
  const holders = await locations.publish(frame.records)
  await reply({ type: 'published', request: frame.request, holders: Math.min(holders, 255) })
}

export const handleLocate: FrameHandler<'locate'> = async ({ locations, reply }, frame) => {
  const records = await locations.locate(frame.blindedKeys, frame.hint)
  await reply({ type: 'located', request: frame.request, records })
}
