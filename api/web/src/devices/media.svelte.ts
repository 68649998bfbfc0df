// This computer's camera and microphone: opened, chosen, switched on and off.
import { browserName } from '../rest/api';
import { explain, type DeviceKind, type Fault } from './faults';
import { loadPrefs, savePrefs } from './prefs';

const AUDIO: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
/** One layer goes to everyone: small enough for the weakest of them. */
const VIDEO: MediaTrackConstraints = { width: { ideal: 640 }, height: { ideal: 360 }, frameRate: { ideal: 30, max: 30 } };

export class LocalMedia {
  camera = $state.raw<MediaStreamTrack | undefined>();
  microphone = $state.raw<MediaStreamTrack | undefined>();
  /** What the person wants; the device may be missing all the same. */
  cameraOn = $state(true);
  micOn = $state(true);
  cameraFault = $state.raw<Fault | undefined>();
  microphoneFault = $state.raw<Fault | undefined>();
  devices = $state.raw<MediaDeviceInfo[]>([]);
  cameraId = $state('');
  microphoneId = $state('');
  /** True while the browser asks for permission or starts a device. */
  opening = $state(false);
  /** A device went away by itself. */
  onlost: ((kind: DeviceKind) => void) | undefined;

  constructor() {
    const prefs = loadPrefs();
    this.cameraOn = prefs.cameraOn;
    this.micOn = prefs.micOn;
    this.cameraId = prefs.camera;
    this.microphoneId = prefs.microphone;
  }

  /** Opens both devices with one question to the person. */
  async open(): Promise<void> {
    this.opening = true;
    try {
      if (this.cameraOn && !(await this.#openBoth())) {
        await Promise.all([this.#openOne('camera'), this.#openOne('microphone')]);
      } else if (!this.cameraOn) {
        await this.#openOne('microphone');
      }
      await this.listDevices();
    } finally {
      this.opening = false;
    }
  }

  async listDevices(): Promise<void> {
    if (!canCapture()) return;
    this.devices = (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.deviceId !== '');
  }

  of(kind: DeviceKind): MediaDeviceInfo[] {
    const wanted = kind === 'camera' ? 'videoinput' : 'audioinput';
    return this.devices.filter((device) => device.kind === wanted);
  }

  async choose(kind: DeviceKind, id: string): Promise<void> {
    if (kind === 'camera') this.cameraId = id;
    else this.microphoneId = id;
    savePrefs(kind === 'camera' ? { camera: id } : { microphone: id });
    if (kind === 'microphone' || this.cameraOn) await this.#openOne(kind);
  }

  /** Muting keeps the device: unmuting must be instant. */
  async setMic(on: boolean): Promise<void> {
    this.micOn = on;
    savePrefs({ micOn: on });
    if (on && this.microphone === undefined) await this.#openOne('microphone');
    if (this.microphone !== undefined) this.microphone.enabled = this.micOn;
  }

  /** Switching the camera off lets go of it, so that its light goes out. */
  async setCamera(on: boolean): Promise<void> {
    this.cameraOn = on;
    savePrefs({ cameraOn: on });
    if (!on) this.#keep('camera', undefined);
    else if (this.camera === undefined) await this.#openOne('camera');
  }

  close(): void {
    this.#keep('camera', undefined);
    this.#keep('microphone', undefined);
  }

  async #openBoth(): Promise<boolean> {
    if (!canCapture()) return false;
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: { ...AUDIO, ...chosen(this.microphoneId) },
        video: { ...VIDEO, ...chosen(this.cameraId) },
      });
      this.#keep('microphone', stream.getAudioTracks()[0]);
      this.#keep('camera', stream.getVideoTracks()[0]);
      return true;
    } catch {
      return false;
    }
  }

  async #openOne(kind: DeviceKind): Promise<void> {
    if (!canCapture()) return this.#fail(kind, undefined);
    const video = { ...VIDEO, ...chosen(this.cameraId) };
    const audio = { ...AUDIO, ...chosen(this.microphoneId) };
    try {
      const stream = await navigator.mediaDevices.getUserMedia(kind === 'camera' ? { video } : { audio });
      this.#keep(kind, stream.getTracks()[0]);
    } catch (error) {
      this.#fail(kind, error);
    }
  }

  #keep(kind: DeviceKind, track: MediaStreamTrack | undefined): void {
    this[kind]?.stop();
    if (kind === 'camera' && track !== undefined && !this.cameraOn) {
      // Switched off while the device was starting.
      track.stop();
      track = undefined;
    }
    this[kind] = track;
    if (track === undefined) return;
    this[kind === 'camera' ? 'cameraFault' : 'microphoneFault'] = undefined;
    if (kind === 'microphone') track.enabled = this.micOn;
    track.onended = () => this.#lost(kind, track);
  }

  #fail(kind: DeviceKind, error: unknown): void {
    this.#keep(kind, undefined);
    this[kind === 'camera' ? 'cameraFault' : 'microphoneFault'] = explain(kind, error, browserName(navigator.userAgent));
  }

  #lost(kind: DeviceKind, track: MediaStreamTrack): void {
    if (this[kind] !== track) return;
    this[kind] = undefined;
    this[kind === 'camera' ? 'cameraFault' : 'microphoneFault'] = {
      cause: `Your ${kind} was disconnected.`,
      fix: 'Plug it in again or choose another one.',
    };
    this.onlost?.(kind);
  }
}

/** A remembered device that is gone must not stand in the way of another one: asked for, not demanded. */
function chosen(id: string): MediaTrackConstraints {
  return id === '' ? {} : { deviceId: { ideal: id } };
}

function canCapture(): boolean {
  // Absent on pages that are not secure, whatever the type says.
  return (navigator.mediaDevices as MediaDevices | undefined) !== undefined;
}
