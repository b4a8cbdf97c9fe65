/**
 * The stream under a session, as far as the session needs it.
 */
import type { StreamInfo } from '../ports.ts'
import type { XmlStream } from '../stream/xml-stream.ts'

export type SessionLink = Pick<
  XmlStream,
  'send' | 'pause' | 'resume' | 'close' | 'bufferedBytes' | 'remoteAddress' | 'transport' | 'tls'
>

export function streamInfo({ remoteAddress, transport, tls }: SessionLink): StreamInfo {
  return { remoteAddress, transport, isEncrypted: tls !== undefined }
}
